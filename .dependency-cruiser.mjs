const tests = '(^|/)test/';

/** Who may import whom: see ARCHITECTURE.md, "Dependencies". */
export default {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'pawl-stands-alone',
      severity: 'error',
      from: { path: '^packages/pawl/src' },
      to: { path: '^(packages|apps)/', pathNot: '^packages/pawl/src' },
    },
    {
      name: 'pawl-core-without-drivers',
      severity: 'error',
      // An adapter is made for one package; the commands open their connections themselves, by the driver that is there.
      from: {
        path: '^packages/pawl/src',
        pathNot: '^packages/pawl/src/(adapters/|bin/|http/(express|fastify|hono|nestjs)\\.ts$)',
      },
      to: { path: 'node_modules' },
    },
    {
      name: 'lab-talks-http',
      severity: 'error',
      // And it reads where the library lets a process die: a list of names, without behaviour.
      from: { path: '^packages/race-lab/src' },
      to: {
        path: '^(packages|apps)/',
        pathNot: '^packages/(race-lab/(src|node_modules)|pawl/src/failpoint/names\\.ts$)',
      },
    },
    {
      name: 'database-only-in-checkers',
      severity: 'error',
      from: { path: '^packages/race-lab/src', pathNot: '^packages/race-lab/src/(checkers|cluster|locks)/' },
      to: { path: 'node_modules/(pg|mysql2)/' },
    },
    {
      name: 'apps-are-apart',
      severity: 'error',
      from: { path: '^apps/([^/]+)/src' },
      to: { path: ['^apps/', '^packages/race-lab'], pathNot: '^apps/$1/src' },
    },
    {
      name: 'service-kit-knows-no-service',
      severity: 'error',
      from: { path: '^packages/service-kit/src' },
      to: { path: '^(packages|apps)/', pathNot: '^packages/service-kit/src' },
    },
    {
      name: 'nothing-needs-the-bench',
      severity: 'error',
      from: { pathNot: '^bench/' },
      to: { path: '^bench/' },
    },
    {
      name: 'bench-measures-from-outside',
      severity: 'error',
      // What a service sees of the library; and of the lab what starts servers, asks them, counts and prints.
      from: { path: '^bench/src' },
      to: {
        path: '^(packages|apps)/',
        pathNot:
          '^packages/(pawl/src/(index\\.ts|adapters/|http/)|race-lab/src/(checkers|cluster|commands|experiments|history|report)/)',
      },
    },
    {
      name: 'peers-only-in-contenders',
      severity: 'error',
      // A process loads the clients of the row that it measures, and no others.
      from: {
        path: '^bench/src',
        pathNot: '^bench/src/(servers\\.ts|groups/[^/]+/(contenders/|frameworks/|service-main\\.ts))',
      },
      to: { path: 'node_modules/', pathNot: 'node_modules/commander/' },
    },
    {
      name: 'sources-without-tests',
      severity: 'error',
      from: { pathNot: [tests, 'vitest.config'] },
      to: { path: tests },
    },
    {
      name: 'no-dev-dependencies-in-sources',
      severity: 'error',
      from: { path: '^(packages|apps)/[^/]+/src' },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['npm-peer', 'type-only'] },
    },
  ],
  options: {
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
      extensions: ['.ts', '.mjs', '.js'],
    },
  },
};
