import { connect, type Socket } from 'node:net';

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

export interface HttpRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string | number>>;
  /** JSON. */
  readonly body?: string;
}

/** Connections that are kept: one for each request that is under way at the same time, to the servers in turn. */
export interface HttpSockets {
  /** @throws Error  The connection was lost, or what came was no answer. */
  ask(request: HttpRequest): Promise<HttpAnswer>;
  close(): void;
}

/** As little of HTTP as costs next to nothing: answers of a known length, one at a time on a connection. */
export function openHttpSockets(baseUrls: readonly string[]): HttpSockets {
  const idle: Connection[] = [];
  const all = new Set<Connection>();
  let opened = 0;
  const take = () => {
    for (;;) {
      const connection = idle.pop();
      if (connection === undefined) break;
      if (connection.isOpen) return connection;
    }
    const url = new URL(baseUrls[opened++ % baseUrls.length] as string);
    const connection = new Connection(url, () => all.delete(connection));
    all.add(connection);
    return connection;
  };
  return {
    async ask(request) {
      const connection = take();
      const answer = await connection.ask(request);
      idle.push(connection);
      return answer;
    },
    close() {
      for (const connection of all) connection.close();
    },
  };
}

const HEAD_END = '\r\n\r\n';

class Connection {
  isOpen = true;
  readonly #socket: Socket;
  readonly #host: string;
  #received = '';
  #pending: { resolve(answer: HttpAnswer): void; reject(error: Error): void } | undefined;

  constructor({ hostname, port, host }: URL, onClosed: () => void) {
    this.#host = host;
    this.#socket = connect(Number(port), hostname);
    this.#socket.setNoDelay(true);
    // A character is a byte, so that lengths are those of the answer.
    this.#socket.setEncoding('latin1');
    this.#socket.on('data', (text: string) => this.#take(text));
    this.#socket.on('error', () => undefined); // Its close tells it.
    this.#socket.on('close', () => {
      this.isOpen = false;
      this.#pending?.reject(new Error('the connection was closed'));
      onClosed();
    });
  }

  ask({ method, path, headers = {}, body }: HttpRequest): Promise<HttpAnswer> {
    const lines = [`${method} ${path} HTTP/1.1`, `host: ${this.#host}`];
    for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
    if (body !== undefined)
      lines.push('content-type: application/json', `content-length: ${Buffer.byteLength(body)}`);
    return new Promise((resolve, reject) => {
      this.#pending = { resolve, reject };
      this.#socket.write(`${lines.join('\r\n')}${HEAD_END}${body ?? ''}`);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(text: string): void {
    this.#received += text;
    const headEnd = this.#received.indexOf(HEAD_END);
    if (headEnd < 0) return;
    const head = this.#received.slice(0, headEnd);
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
    const end = headEnd + HEAD_END.length + length;
    if (this.#received.length < end) return;
    const body = Buffer.from(this.#received.slice(headEnd + HEAD_END.length, end), 'latin1').toString();
    this.#received = this.#received.slice(end);
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.resolve({ status: Number(head.slice(9, 12)), body });
  }
}
