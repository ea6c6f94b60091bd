import { parseExact, value } from "@mqtt-trio/common"

/** Rules of who may read and write what. */
export const ACL_FILE_OPTION = value({
  flags: "--acl-file <file>",
  help: "who may read and write which topics; in mosquitto's format",
  group: "Users",
  env: "MQTT_BROKER_ACL_FILE",
  parse: parseExact,
})
