import { BaseError } from "@mqtt-trio/common"

/** What can keep the broker and its tools from working, besides a wrong command line (exit code 2). */
export const BROKER_ERRORS = {
  "cannot-listen": { exitCode: 10, meaning: "the port is taken, or the address is not this machine's" },
  "store-unusable": { exitCode: 11, meaning: "the store cannot be written or reached, or its data cannot be read" },
  "store-in-use": { exitCode: 12, meaning: "another broker uses the store's folder, or took over its database" },
  "no-broker": { exitCode: 13, meaning: "no broker runs on the store that the tool was pointed at" },
  "no-session": { exitCode: 14, meaning: "the broker knows no session with that client identifier" },
  "tls-unusable": { exitCode: 16, meaning: "a file with a certificate or key for TLS cannot be read or used" },
  "access-unusable": {
    exitCode: 17,
    meaning: "the password file or the ACL file cannot be read or written, or a line of it is not understood",
  },
  "no-user": { exitCode: 18, meaning: "the password file has no user of that name" },
  "user-exists": { exitCode: 19, meaning: "the password file has a user of that name already" },
} as const

export type BrokerErrorCode = keyof typeof BROKER_ERRORS

export class BrokerError extends BaseError {
  constructor(code: BrokerErrorCode, message: string, more: { hint?: string; cause?: unknown } = {}) {
    super({ code, exitCode: BROKER_ERRORS[code].exitCode, message, ...more })
  }
}
