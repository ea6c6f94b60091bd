/**
 * Who may come in, by user name and password (MQTT 5.0 section 5.4.1). One value is one state of the accounts: when
 * their file changes there is a new one.
 */
export interface Users {
  /**
   * What an account is now, in a form that two values can be compared by: it changes with the password. Undefined: there
   * is no such account.
   */
  account(user: string): string | undefined
  /** Whether the password is that of the account; false also when there is none, and after as long a time. Never rejects. */
  verify(user: string, password: Buffer): Promise<boolean>
}
