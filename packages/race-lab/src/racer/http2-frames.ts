/** What a frame of HTTP/2 is about. @see RFC 9113, 4.1 */
export interface Frame {
  type: number;
  flags: number;
  streamId: number;
}

const DATA = 0;
const HEADERS = 1;
const END_STREAM = 1;
const PREFACE_BYTES = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'.length;
const HEAD_BYTES = 9;

/** Whether a frame is the last that its sender has for the stream. */
export function endsStream({ type, flags }: Frame): boolean {
  return (type === DATA || type === HEADERS) && (flags & END_STREAM) !== 0;
}

/** Reads the frames of what a client sends, however it is cut in pieces: each frame, when all of it has passed. */
export function frameReader(): (chunk: Buffer) => Frame[] {
  let unread = Buffer.alloc(0);
  let toSkip = PREFACE_BYTES;
  return (chunk) => {
    unread = Buffer.concat([unread, chunk]);
    const skipped = Math.min(toSkip, unread.length);
    toSkip -= skipped;
    unread = unread.subarray(skipped);
    const frames: Frame[] = [];
    while (unread.length >= HEAD_BYTES) {
      const whole = HEAD_BYTES + unread.readUIntBE(0, 3);
      if (unread.length < whole) break;
      const streamId = unread.readUInt32BE(5) & 0x7fffffff;
      frames.push({ type: unread.readUInt8(3), flags: unread.readUInt8(4), streamId });
      unread = unread.subarray(whole);
    }
    return frames;
  };
}
