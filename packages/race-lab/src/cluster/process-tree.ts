import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/**
 * Sends `signal` to every process of the group that `pid` leads.
 *
 * @returns false when nobody was there to receive it.
 */
export function signalGroup(pid: number, signal: NodeJS.Signals): boolean {
  return send(-pid, signal);
}

/** Sends `signal` to one process. @returns false when it had ended. */
export function signalProcess(pid: number, signal: NodeJS.Signals): boolean {
  return send(pid, signal);
}

/** Lets a stopped server run again, so that it can act on the signal that asks it to end. */
export function resumeTree(pid: number): void {
  const descendants = descendantsOf(pid);
  signalGroup(pid, 'SIGCONT');
  for (const descendant of descendants) signalProcess(descendant, 'SIGCONT');
}

/**
 * Kills a server's process group and all that descends from it.
 *
 * The group alone is not enough: every PostgreSQL backend leads a session of its own. The family is listed
 * before the first kill, because an orphan no longer names its parent.
 */
export function killTree(pid: number): void {
  const descendants = descendantsOf(pid);
  signalGroup(pid, 'SIGKILL');
  for (const descendant of descendants) signalProcess(descendant, 'SIGKILL');
}

function send(target: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(target, signal);
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    // EPERM is macOS' word for a group of which only unreaped processes are left.
    if (code === 'ESRCH' || code === 'EPERM') return false;
    throw error;
  }
}

/** Children, their children and so on, nearest first. */
export function descendantsOf(pid: number): number[] {
  const table = process.platform === 'linux' ? linuxProcesses() : psProcesses();
  const found = [pid];
  for (const parent of found) {
    for (const [child, itsParent] of table) if (itsParent === parent) found.push(child);
  }
  return found.slice(1);
}

/** How a process calls itself: its title or its command line; empty when there is no such process. */
export function commandOf(pid: number): string {
  try {
    if (process.platform === 'linux') return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
    return execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'latin1' });
  } catch {
    return ''; // It has ended; `ps` says so with its exit code.
  }
}

/** Whether a process stands still, by a signal such as SIGSTOP. */
export function isStopped(pid: number): boolean {
  try {
    if (process.platform === 'linux')
      return stateAndParent(readFileSync(`/proc/${pid}/stat`, 'latin1'))[0] === 'T';
    return execFileSync('ps', ['-o', 'state=', '-p', String(pid)], { encoding: 'latin1' }).startsWith('T');
  } catch {
    return false; // It has ended.
  }
}

/** From /proc, because a slim container has no `ps`. */
function linuxProcesses(): [pid: number, parent: number][] {
  const processes: [number, number][] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    let stat: string;
    try {
      stat = readFileSync(`/proc/${entry}/stat`, 'latin1');
    } catch {
      continue; // It ended since the directory was read.
    }
    processes.push([Number(entry), Number(stateAndParent(stat)[1])]);
  }
  return processes;
}

/** Of "pid (name) state parent …", where the name may hold spaces and parentheses. */
function stateAndParent(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ', 2);
}

function psProcesses(): [pid: number, parent: number][] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'latin1' }).trim().split('\n');
  return lines.map((line) => {
    const [pid, parent] = line.trim().split(/\s+/);
    return [Number(pid), Number(parent)];
  });
}
