/** What a right is asked for: to receive what is published to a topic, or to publish to it. */
export type Direction = "read" | "write"

/** Whom a right is asked for. */
export interface Identity {
  /** the user whose password or certificate was accepted; undefined: anonymous */
  readonly user: string | undefined
  readonly clientId: string
}

/** What one client may do. One value holds for one state of the rules; answers are remembered, in a bounded number. */
export interface Permissions {
  /** Whether what is published to the Topic Name may be delivered. */
  mayRead(topic: string): boolean
  mayWrite(topic: string): boolean
  /** Whether any Topic Name that the Topic Filter matches may be read. What may not is left out on delivery. */
  maySubscribe(filter: string): boolean
}

/** The rules of who may do what. One value is one state of them: when their file changes there is a new one. */
export interface Rights {
  permissions(identity: Identity): Permissions
}
