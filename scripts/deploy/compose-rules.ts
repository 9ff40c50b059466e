import { readConfig, settingsSchema as sandboxSettings } from '../../apps/payment-sandbox/src/config.ts';
import { shopSettings, settingsSchema as shopSettingsSchema } from '../../apps/shop/src/config.ts';
import { NGINX_READY_PATH } from '../../packages/race-lab/src/cluster/nginx-configuration.ts';
import { SettingsError } from '../../packages/service-kit/src/index.ts';
import {
  type ComposeFile,
  type ComposeService,
  environmentOf,
  environmentProblems,
  readYaml,
} from './compose-file.ts';
import { schemaProblems } from './compose-schema.ts';
import { CONTAINER_PORT, INSTANCES } from './front-door.ts';

const SANDBOX = 'payment-sandbox';
const LOOPBACK = '127.0.0.1:';
/** Of each instance, as published. */
const CPUS = 0.5;
const MEMORY = '512M';
const FIRST_INSTANCE_PORT = 8081;
const NGINX_CONF = './nginx.conf:/etc/nginx/nginx.conf:ro';

/** The settings of a service of this repository, and who reads them. */
const readers = {
  shop: { known: Object.keys(shopSettingsSchema.properties), read: shopSettings },
  sandbox: { known: Object.keys(sandboxSettings.properties), read: readConfig },
};

type Service = readonly [name: string, service: ComposeService];
type Rule = (service: Service, file: ComposeFile) => string[];

/** Everything that is wrong with `deploy/compose.yaml`, a sentence each. */
export function composeProblems(text: string): string[] {
  const { file, problems } = readYaml(text);
  const all = [...problems, ...(problems.length === 0 ? schemaProblems(file) : [])];
  if (all.length > 0) return all;
  const compose = file as ComposeFile;
  const unreadable = Object.entries(compose.services).flatMap(environmentProblems);
  if (unreadable.length > 0) return unreadable;
  return [
    ...missingServices(compose),
    ...Object.entries(compose.services).flatMap((service) => rules.flatMap((rule) => rule(service, compose))),
  ];
}

function missingServices({ services }: ComposeFile): string[] {
  return [...INSTANCES, SANDBOX, 'nginx']
    .filter((name) => !(name in services))
    .map((name) => `${name} is missing`);
}

const publishedOnLoopback: Rule = ([name, { ports = [], network_mode, privileged }]) => [
  ...ports
    .filter((port) => typeof port !== 'string' || !port.startsWith(LOOPBACK))
    .map((port) => `${name}: the port ${JSON.stringify(port)} is not published on 127.0.0.1 alone`),
  ...(network_mode === undefined ? [] : [`${name}: network_mode would publish what ports does not say`]),
  ...(privileged === true ? [`${name}: is privileged`] : []),
];

const pinnedImage: Rule = ([name, { image = '' }], { services }) => {
  const isOwn = Object.values(services).some((other) => other.build !== undefined && other.image === image);
  if (isOwn || /:\d+\.\d+[\w.-]*$/.test(image)) return [];
  return [`${name}: the image ${image || '(none)'} is not pinned by a version`];
};

const startedAgain: Rule = ([name, { restart, stop_grace_period }]) => [
  ...(restart === 'unless-stopped' || restart === 'always' ? [] : [`${name}: is not started again`]),
  ...(name === 'nginx' || stop_grace_period !== undefined ? [] : [`${name}: has no stop_grace_period`]),
];

const rotatedLogs: Rule = ([name, { logging }]) =>
  logging?.options?.['max-size'] && logging.options['max-file'] ? [] : [`${name}: its log grows for ever`];

/** Who waits until another is healthy waits for ever when nobody can say so. The own image has a check of its own. */
const waitsForHealthy: Rule = ([name, { depends_on = {} }], { services }) => {
  if (Array.isArray(depends_on)) return [`${name}: depends_on waits for starts only`];
  return Object.entries(depends_on).flatMap(([other, { condition }]) => {
    const service = services[other];
    if (service === undefined) return [`${name}: waits for ${other}, which is no service`];
    if (condition !== 'service_healthy') return [`${name}: waits only until ${other} is started`];
    const isChecked = service.healthcheck?.disable !== true && (service.healthcheck?.test || isOwn(other));
    return isChecked ? [] : [`${name}: waits for ${other} to be healthy, which nobody checks`];
  });
};

const knownSettings: Rule = (service) => {
  const [name] = service;
  const reader = readerOf(name);
  if (reader === undefined) return [];
  const env = environmentOf(service[1]);
  const unknown = Object.keys(env).filter((setting) => !reader.known.includes(setting));
  const refused = problemsOf(() => reader.read(env));
  return [
    ...unknown.map((setting) => `${name}: ${setting} is no setting of this service`),
    ...refused.map((problem) => `${name}: ${problem}`),
  ];
};

/** An instance is what was published: its name, its port, half a processor and 512 MB. */
const publishedInstance: Rule = (service) => {
  const [name, { ports = [], deploy, depends_on = {} }] = service;
  const index = INSTANCES.indexOf(name as (typeof INSTANCES)[number]);
  if (index < 0) return [];
  const { SERVER_NAME, PORT } = environmentOf(service[1]);
  const { cpus, memory } = deploy?.resources?.limits ?? {};
  const port = `${LOOPBACK}${FIRST_INSTANCE_PORT + index}:${CONTAINER_PORT}`;
  return [
    ...(SERVER_NAME === name ? [] : [`${name}: calls itself ${SERVER_NAME}`]),
    ...(PORT === String(CONTAINER_PORT) ? [] : [`${name}: listens on ${PORT}, not on ${CONTAINER_PORT}`]),
    ...(ports.length === 1 && ports[0] === port ? [] : [`${name}: its port is not ${port}`]),
    ...(Number(cpus) === CPUS ? [] : [`${name}: is not limited to ${CPUS} CPU`]),
    ...(memory === MEMORY ? [] : [`${name}: is not limited to ${MEMORY}`]),
    ...('mysql' in depends_on ? [] : [`${name}: does not wait for the database`]),
  ];
};

/** What an instance is told of the others is what they were told. */
const toldTheSame: Rule = (service, { services }) => {
  const [name] = service;
  if (!INSTANCES.includes(name as (typeof INSTANCES)[number])) return [];
  const env = environmentOf(service[1]);
  const { mysql = {}, [SANDBOX]: sandbox = {} } = services;
  const database = environmentOf(mysql);
  const provider = environmentOf(sandbox);
  const url = `mysql://${database.MYSQL_USER}:${database.MYSQL_PASSWORD}@mysql:3306/${database.MYSQL_DATABASE}`;
  const expected = {
    DATABASE_URL: url,
    PAYMENT_BASE_URL: `http://${SANDBOX}:${provider.PORT}`,
    PAYMENT_SECRET_KEY: provider.SECRET_KEY,
    PAYMENT_IDEMPOTENCY: provider.MODE === 'toss' ? '1' : '0',
  };
  const hosts = [env.REDIS_URL].map((text) => (URL.canParse(text ?? '') ? new URL(text ?? '').hostname : ''));
  return [
    ...Object.entries(expected)
      .filter(([setting, value]) => env[setting] !== value)
      .map(([setting, value]) => `${name}: ${setting} is not ${value}`),
    ...hosts
      .filter((host) => !(host in services))
      .map((host) => `${name}: ${host || 'REDIS_URL'} is no service`),
  ];
};

/** nginx runs the configuration that the check compares, and is asked what it answers by itself. */
const frontDoor: Rule = ([name, { volumes = [], healthcheck }]) => {
  if (name !== 'nginx') return [];
  const question = `http://127.0.0.1:${CONTAINER_PORT}${NGINX_READY_PATH}`;
  return [
    ...(volumes.includes(NGINX_CONF) ? [] : [`${name}: does not run ${NGINX_CONF}`]),
    ...(healthcheck?.test?.includes(question) ? [] : [`${name}: is not asked ${question}`]),
  ];
};

/** The money's record outlives its container. */
const ledgerOnVolume: Rule = (service, { volumes: named = {} }) => {
  const [name, { volumes = [] }] = service;
  if (name !== SANDBOX) return [];
  const { LEDGER_FILE = '' } = environmentOf(service[1]);
  const isKept = volumes.some((volume) => {
    const [source = '', target = ''] =
      typeof volume === 'string' ? volume.split(':') : [volume.source, volume.target];
    return source in named && LEDGER_FILE.startsWith(`${target}/`);
  });
  return isKept ? [] : [`${name}: its ledger ${LEDGER_FILE} is on no volume`];
};

/** Built once: five builds of one image at the same time get in each other's way. Nobody looks for it elsewhere. */
const builtOnce: Rule = ([name, { build, image, pull_policy }], { services }) => {
  if (!isOwn(name)) return [];
  if (build === undefined) {
    const isBuilt = image !== undefined && services[SANDBOX]?.image === image;
    return isBuilt && pull_policy === 'never'
      ? []
      : [`${name}: does not run the image that ${SANDBOX} builds`];
  }
  const { context, dockerfile } =
    typeof build === 'string' ? { context: build, dockerfile: undefined } : build;
  if (name !== SANDBOX) return [`${name}: only ${SANDBOX} builds the image`];
  return context === '..' && dockerfile === 'deploy/Dockerfile'
    ? []
    : [`${name}: is not built by deploy/Dockerfile`];
};

/** Node as the first process of a container would not notice a signal until it has read the sources. */
const toldOfItsEnd: Rule = ([name, { init }]) =>
  isOwn(name) && init !== true ? [`${name}: has no init, so a signal during its start is lost`] : [];

const rules: readonly Rule[] = [
  publishedOnLoopback,
  pinnedImage,
  startedAgain,
  rotatedLogs,
  waitsForHealthy,
  knownSettings,
  publishedInstance,
  toldTheSame,
  frontDoor,
  ledgerOnVolume,
  builtOnce,
  toldOfItsEnd,
];

function isOwn(name: string): boolean {
  return readerOf(name) !== undefined;
}

function readerOf(name: string) {
  if (name === SANDBOX) return readers.sandbox;
  return INSTANCES.includes(name as (typeof INSTANCES)[number]) ? readers.shop : undefined;
}

function problemsOf(read: () => unknown): readonly string[] {
  try {
    read();
    return [];
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
}
