import { runClient } from "@mqtt-trio/common"
import { pubHelp, pubOptions } from "./options.js"
import { planPub } from "./rules.js"
import { runPub } from "./run-pub.js"

const manifest = new URL("../../package.json", import.meta.url)

void runClient(
  { help: pubHelp, options: pubOptions, arguments: ["[topic]", "[message]"], manifest },
  (resolved, { positional, line }, io) => runPub(planPub(resolved, positional, line), io),
)
