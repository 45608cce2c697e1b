// Packages come from the cache that tools.sh fills, never from the checkout.
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

const cache = process.env.ROOMSCRIBE_CACHE ?? join(homedir(), '.cache', 'roomscribe');

/** A package that tools.sh installed. */
export const fromCache = createRequire(join(cache, 'browser', 'package.json'));
