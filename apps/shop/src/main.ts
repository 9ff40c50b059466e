import { runService } from '@pawl/service-kit';
import { startShop } from './app.ts';
import { shopSettings } from './config.ts';

await runService(() => startShop(shopSettings(process.env)));
