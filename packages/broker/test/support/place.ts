import { Accountant } from "../../src/accounting/accountant.js"

/** Counts for parts that are tried without a broker; there is room enough. */
export const accountant = new Accountant(2 ** 30)
export const place = accountant.place("here")
