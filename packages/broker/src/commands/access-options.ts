import { parseExact, value } from "@mqtt-trio/common"

/** Accounts of users. */
export const PASSWORD_FILE_OPTION = value({
  flags: "--password-file <file>",
  help: "users and their passwords; mqtt-broker user writes it, mosquitto's is read",
  group: "Users",
  env: "MQTT_BROKER_PASSWORD_FILE",
  parse: parseExact,
})
