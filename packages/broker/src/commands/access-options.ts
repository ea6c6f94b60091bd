import { parseExact, value } from "@mqtt-trio/common"

/** Where the users are; one declaration for all commands that ask for it. */
export const PASSWORD_FILE_OPTION = value({
  flags: "--password-file <file>",
  help: "users and their hashed passwords, in the format of mosquitto's password_file",
  group: "Users and rights",
  env: "MQTT_BROKER_PASSWORD_FILE",
  parse: parseExact,
})
