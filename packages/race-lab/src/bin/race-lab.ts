#!/usr/bin/env node
import type { Command } from 'commander';
import { failpointNames } from 'pawl/failpoints';
import { ClusterSetupError, PortTakenError } from '../cluster/errors.ts';
import { STORE_FORMS } from '../cluster/store.ts';
import {
  collectNames,
  MOST_INSTANCES,
  parseGateway,
  parseStore,
  wholeNumber,
} from '../commands/arguments.ts';
import {
  addEndpointOptions,
  ENDPOINT_FORMS,
  endpointOf,
  parseRaceSubject,
  refuseOthersOptions,
} from '../commands/endpoint-options.ts';
import { locksCommand, parseDatabaseUrl } from '../commands/locks.ts';
import { DEFAULT_GATEWAY, defaults } from '../commands/plan-race.ts';
import { runProgram, type Surroundings } from '../commands/program.ts';
import { raceCommand } from '../commands/race.ts';
import { raceEndpointCommand } from '../commands/race-endpoint.ts';
import { reportCommand } from '../commands/report.ts';
import { upCommand } from '../commands/up.ts';
import { MOST_FANOUT } from '../endpoint/read-definition.ts';
import { couponScenarioNames } from '../experiments/coupon-scenario-names.ts';
import { couponStrategyNames } from '../experiments/coupon-strategies.ts';
import { lockStrategyNames } from '../experiments/lock-strategies.ts';
import { purchaseStrategyNames } from '../experiments/purchase-strategies.ts';
import { recoveryFaultNames } from '../experiments/recovery-faults.ts';
import { lockFaultNames } from '../nemesis/lock-fault-names.ts';

/** Options that are left to the experiment when they are not given. */
const undecided = {
  ...{
    strategy: undefined,
    scenario: undefined,
    instances: undefined,
    runs: undefined,
    json: undefined,
    html: undefined,
  },
  ...{ gateway: undefined, fault: undefined, failpoint: undefined },
  ...{ orders: undefined, fanout: undefined, purchases: undefined, seconds: undefined },
};
await runProgram('race-lab', raceLab, (error) => error instanceof PortTakenError || isBadOption(error));

function raceLab(program: Command, { terminal, signal, endWith, exitAtEnd }: Surroundings): void {
  program.description(
    'Races the same request against several instances, and judges what happened by the ledger.',
  );

  const race = program
    .command('race')
    .description(
      'races strategies on a private cluster, and prints which ones hold; or an endpoint of your own, whether it lets more ' +
        'than one of many equal requests through',
    )
    .argument(
      '[experiment]',
      'purchase: simultaneous confirmations; bystanders: what others see of purchases that wait; ' +
        'coupon: first come, first served; lock: faults that strike a lock that is held and waited for; ' +
        'recovery: the durable purchase while instances die and the payment provider misbehaves; ' +
        ENDPOINT_FORMS,
      parseRaceSubject,
      'purchase',
    )
    .argument('[url]', 'after a method: what is raced')
    .option(
      '--strategy <names>',
      `one or more of ${purchaseStrategyNames.join(', ')}; coupon: of ${couponStrategyNames.join(', ')}; ` +
        `lock: of ${lockStrategyNames.join(', ')} ` +
        '(default: all that fit the experiment)',
      collectNames,
    )
    .option(
      '--scenario <names>',
      `coupon: one or more of ${couponScenarioNames.join(', ')} (default: all, flood with conditional-update)`,
      collectNames,
    )
    .option(
      '--fault <names>',
      `lock: one or more of ${lockFaultNames.join(', ')} (default: all); ` +
        `recovery: of ${recoveryFaultNames.join(', ')}, or all (default: all, unless failpoints are named)`,
      collectNames,
    )
    .option(
      '--failpoint <names>',
      `recovery: where instances die: one or more of ${failpointNames.join(', ')}, or all ` +
        '(default: all, unless faults are named)',
      collectNames,
    )
    .option(
      '--instances <n>',
      `instances of the shop (default: ${defaults.purchase.instances}; bystanders: ${defaults.bystanders.instances})`,
      wholeNumber('--instances', 1, MOST_INSTANCES),
    )
    .option(
      '--orders <n>',
      `purchase: orders a strategy (default: ${defaults.purchase.orders}); recovery: orders a cell (default: ${defaults.recovery.orders})`,
      wholeNumber('--orders', 1, 10_000),
    )
    .option(
      '--fanout <n>',
      `purchase: simultaneous confirmations of each order (default: ${defaults.purchase.fanout}); endpoint: requests of a round`,
      wholeNumber('--fanout', 2, MOST_FANOUT),
    )
    .option(
      '--purchases <n>',
      `bystanders: purchases under way at any time (default: ${defaults.bystanders.purchases})`,
      wholeNumber('--purchases', 1, 1_000),
    )
    .option(
      '--seconds <n>',
      `bystanders: how long each strategy is measured (default: ${defaults.bystanders.seconds}); endpoint: no round is begun later`,
      wholeNumber('--seconds', 1, 600),
    )
    .option(
      '--runs <n>',
      `coupon: how often each strategy is raced in each scenario (default: ${defaults.coupon.runs}); ` +
        `lock: under each fault (default: ${defaults.lock.runs})`,
      wholeNumber('--runs', 1, 1_000),
    )
    .option('--store <store>', STORE_FORMS, parseStore, 'postgres')
    .option(
      '--gateway <mode>',
      `purchase, bystanders: as-published, generous or toss (default: ${DEFAULT_GATEWAY}); ` +
        'recovery: toss or generous (default: both)',
      parseGateway,
    )
    .option(
      '--seed <n>',
      "seed of the payment provider's chance, of the order in which members ask, and of when a fault strikes",
      wholeNumber('--seed', 0, 2 ** 32 - 1),
      42,
    )
    .option('--json <file>', 'also write the reports to a file')
    .option('--html <file>', 'also write the reports to a page that opens in a browser')
    .action(async (subject, url, options, command) => {
      const endpoint = endpointOf(subject, url);
      refuseOthersOptions(command, endpoint !== undefined, subject);
      if (endpoint !== undefined) {
        exitAtEnd();
        return endWith(await raceEndpointCommand(endpoint, options, terminal, signal));
      }
      // Of a whole cluster, less at once is asked.
      if (options.fanout !== undefined) wholeNumber('--fanout', 2, 50)(String(options.fanout));
      endWith(await raceCommand({ ...undecided, ...options, experiment: subject }, terminal, signal));
    });
  addEndpointOptions(race);

  program
    .command('report')
    .description('writes the page of a race from the file that "race --json" wrote')
    .argument('<file>', 'what "race --json" wrote')
    .requiredOption('--html <file>', 'where the page goes')
    .action(async (file, { html }) => reportCommand({ file, html }, terminal));

  program
    .command('up')
    .description('starts a cluster to play with, until Ctrl-C')
    .option('--instances <n>', 'instances of the shop', wholeNumber('--instances', 1, MOST_INSTANCES), 4)
    .option(
      '--port <n>',
      'port of the front door; the instances follow it',
      wholeNumber('--port', 1, 65_000),
      8080,
    )
    .option('--store <store>', STORE_FORMS, parseStore, 'postgres')
    .option('--gateway <mode>', 'as-published, generous or toss', parseGateway, 'as-published')
    .option('--seed <n>', "seed of the payment provider's chance", wholeNumber('--seed', 0, 2 ** 32 - 1), 42)
    .action(async (options) => {
      endWith(await upCommand(options, terminal, signal));
    });

  program
    .command('locks')
    .description('prints who waits for whose lock in the database of a running cluster, or in any other')
    .option(
      '--store <url>',
      'a postgres:// or mysql:// URL (default: the cluster that runs)',
      parseDatabaseUrl,
    )
    .option('--cluster <directory>', 'which one, where several run')
    .option('--every <ms>', 'between two looks', wholeNumber('--every', 10, 60_000), 100)
    .option('--for <seconds>', 'how long (default: until Ctrl-C)', wholeNumber('--for', 1, 1_000_000))
    .option('--json', 'one JSON object a line', false)
    .action(async (options) => {
      const command = { store: undefined, cluster: undefined, for: undefined, ...options };
      endWith(await locksCommand(command, terminal, signal));
    });
}

function isBadOption(error: unknown): boolean {
  return error instanceof ClusterSetupError && error.code === 'BAD_OPTION';
}
