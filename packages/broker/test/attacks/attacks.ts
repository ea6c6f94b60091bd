import type { Attack } from "../support/siege.js"
import { FILTERS } from "./filters.js"
import { NAMES } from "./names.js"
import { NORMAL_LOAD } from "./normal-load.js"
import { RECEIVERS } from "./receivers.js"
import { RETAINED } from "./retained.js"
import { UNFINISHED } from "./unfinished.js"

/** Every attack, by its name. */
export const ATTACKS: Readonly<Record<string, Attack>> = { ...FILTERS, ...RETAINED, ...UNFINISHED, ...NAMES, ...RECEIVERS, ...NORMAL_LOAD }
