import { validate } from 'dockerfile-utils';
import { type Instruction, instructionsOf } from './dockerfile.ts';

/** What a Dockerfile may copy, and which Node it must run. */
export interface BuildContext {
  /** The text of `.dockerignore`. */
  readonly ignore: string;
  /** Whether the checkout has a file or folder of this path. */
  exists(path: string): boolean;
  /** The version of Node that the project is developed with, as `24.21.0`. */
  readonly nodeVersion: string;
}

/** Everything that is wrong with `deploy/Dockerfile`, a sentence each. */
export function dockerfileProblems(text: string, context: BuildContext): string[] {
  const linted = validate(text).map(({ message, range }) => `line ${range.start.line + 1}: ${message}`);
  if (linted.length > 0) return linted;
  const instructions = instructionsOf(text);
  const lastStage = instructions.slice(instructions.findLastIndex(({ keyword }) => keyword === 'FROM'));
  return [
    ...baseProblems(instructions, context.nodeVersion),
    ...secretProblems(instructions),
    ...copyProblems(instructions, context),
    ...runProblems(lastStage),
  ];
}

/** Every base is a version, and of Node the one that the project is developed with. */
function baseProblems(instructions: readonly Instruction[], nodeVersion: string): string[] {
  const stages = new Set<string>();
  const nodeTag = nodeVersion.split('.').slice(0, 2).join('.');
  const problems: string[] = [];
  for (const { keyword, words, line } of instructions) {
    if (keyword !== 'FROM') continue;
    const [image = '', , stage] = words.filter((word) => !word.startsWith('--'));
    const isPinned = stages.has(image) || /:\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?$/.test(image);
    if (!isPinned) problems.push(`line ${line}: the base ${image} is not pinned by a version`);
    else if (/^node:/.test(image) && !image.startsWith(`node:${nodeTag}`))
      problems.push(`line ${line}: ${image} is not Node ${nodeTag}, which package.json names`);
    if (stage !== undefined) stages.add(stage);
  }
  return problems;
}

/** What is written into an image can be read by whoever has it. */
function secretProblems(instructions: readonly Instruction[]): string[] {
  return instructions
    .filter(
      ({ keyword, words }) => ['ENV', 'ARG'].includes(keyword) && words.some((word) => SECRET.test(word)),
    )
    .map(({ keyword, line }) => `line ${line}: ${keyword} looks like a secret`);
}

const SECRET = /secret|password|passwd|token|api_?key/i;

/** What is copied is there, and `.dockerignore` lets it in. */
function copyProblems(instructions: readonly Instruction[], { ignore, exists }: BuildContext): string[] {
  const rules = ignore.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const [first, ...rest] = rules;
  if (first !== '*' || rest.some((rule) => !/^![\w./-]+$/.test(rule)))
    return ['.dockerignore must keep everything out but the paths that it lists: "*", then "!path" lines'];
  const letIn = rest.map((rule) => rule.slice(1));
  const problems: string[] = [];
  const used = new Set<string>();
  for (const { keyword, words, line } of instructions) {
    if (keyword === 'ADD') problems.push(`line ${line}: COPY does not unpack or download`);
    if (keyword !== 'COPY' || words.some((word) => word.startsWith('--from='))) continue;
    for (const source of words.filter((word) => !word.startsWith('--')).slice(0, -1)) {
      const rule = letIn.find((path) => source === path || source.startsWith(`${path}/`));
      if (rule === undefined) problems.push(`line ${line}: .dockerignore keeps ${source} out`);
      else used.add(rule);
      if (!exists(source)) problems.push(`line ${line}: there is no ${source}`);
    }
  }
  const unused = letIn.filter((path) => !used.has(path));
  return [...problems, ...unused.map((path) => `.dockerignore lets ${path} in, which nothing copies`)];
}

/** How the image runs: as nobody special, watched, and so that a signal reaches the service itself. */
function runProblems(stage: readonly Instruction[]): string[] {
  const last = (keyword: string) => stage.findLast((instruction) => instruction.keyword === keyword);
  const user = last('USER')?.words[0]?.split(':')[0];
  const check = last('HEALTHCHECK');
  const checked = check?.words.slice(check.words.indexOf('CMD') + 1).join(' ');
  const command = last('CMD');
  return [
    ...(user === undefined || ['root', '0'].includes(user) ? ['it runs as root'] : []),
    ...(check === undefined || check.words[0] === 'NONE' ? ['it has no HEALTHCHECK'] : []),
    ...(checked !== undefined && !isExec(checked) ? ['its HEALTHCHECK needs a shell'] : []),
    ...(command === undefined ? ['it has no CMD'] : []),
    ...(command !== undefined && !isExec(command.words.join(' '))
      ? ['its CMD is run by a shell, which keeps signals']
      : []),
    ...(last('ENTRYPOINT') === undefined ? [] : ['its ENTRYPOINT stands before the command of the sandbox']),
  ];
}

/** `["program", "argument"]` */
function isExec(text: string): boolean {
  try {
    const parts: unknown = JSON.parse(text);
    return Array.isArray(parts) && parts.length > 0 && parts.every((part) => typeof part === 'string');
  } catch {
    return false; // Anything else is a line for a shell.
  }
}
