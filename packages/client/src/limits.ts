import { CliError, type Properties, quoted, splitShare } from "@mqtt-trio/common"
import type { Connack, PublishOptions, Subscription } from "./packets.js"

/*
 * What a CONNACK forbids (MQTT 5.0 section 3.2.2.3), said before anything is sent that the broker would have to answer by closing.
 */

/** The error for messages that the broker does not take, or undefined. */
export function forbiddenPublish({ properties = {} }: Connack, { qos, retain, properties: wanted }: PublishOptions): CliError | undefined {
  const { maximumQoS = 2, retainAvailable = true, topicAliasMaximum = 0 } = properties
  if (qos > maximumQoS) return forbidden(`the broker takes messages at QoS ${maximumQoS} at most`, `use -q ${maximumQoS}`)
  if (retain && !retainAvailable) return forbidden("the broker keeps no retained messages", "leave out --retain")
  const alias = wanted?.topicAlias ?? 0
  if (alias <= topicAliasMaximum) return undefined
  if (topicAliasMaximum === 0) return forbidden("the broker takes no topic aliases", "leave out --topic-alias")
  return forbidden(`the broker takes no topic alias ${alias}`, `use --topic-alias ${topicAliasMaximum} or a smaller one`)
}

/** The error for subscriptions that the broker does not offer, or undefined. */
export function forbiddenSubscribe(
  { properties = {} }: Connack,
  subscriptions: readonly Subscription[],
  wanted: Properties | undefined,
): CliError | undefined {
  const filters = subscriptions.map(({ filter }) => filter)
  const shared = filters.find((filter) => splitShare(filter) !== undefined)
  if (shared !== undefined && properties.sharedSubscriptionAvailable === false)
    return forbidden(`the broker offers no shared subscriptions such as ${quoted(shared)}`, "leave out $share/GROUP/")
  const wildcard = filters.find((filter) => /[+#]/.test(filter))
  if (wildcard !== undefined && properties.wildcardSubscriptionAvailable === false)
    return forbidden(`the broker offers no wildcards as in ${quoted(wildcard)}`, "name each topic")
  if (wanted?.subscriptionIdentifier !== undefined && properties.subscriptionIdentifiersAvailable === false)
    return forbidden("the broker offers no subscription identifiers", "leave out --subscription-id")
  return undefined
}

/** The error for a packet that is larger than the broker takes, or than MQTT has. */
export function tooLarge(what: string, size: number, limit: number): CliError {
  const whose = limit < LARGEST_PACKET ? "the broker takes" : "MQTT has"
  return forbidden(`${what} is a packet of ${size} bytes: ${whose} packets up to ${limit} bytes`)
}

/** The largest packet of MQTT: a type, four bytes of length and what they can count (MQTT 5.0 section 2.1.4). */
export const LARGEST_PACKET = 268_435_460

function forbidden(message: string, hint?: string): CliError {
  return new CliError("request-refused", message, { hint })
}
