import { parseExact, value } from "@mqtt-trio/common"

/** Where the rules stand of who may read and publish what. */
export const ACL_FILE_OPTION = value({
  flags: "--acl-file <file>",
  help: "who may read and publish what, as in mosquitto's acl_file; without it everybody may all",
  group: "Users and rights",
  env: "MQTT_BROKER_ACL_FILE",
  parse: parseExact,
})
