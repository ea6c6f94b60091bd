import { runClient } from "@mqtt-trio/common"
import { subHelp, subOptions } from "./options.js"
import { planSub } from "./rules.js"
import { runSub } from "./run-sub.js"

const manifest = new URL("../../package.json", import.meta.url)

void runClient({ help: subHelp, options: subOptions, arguments: ["[filters...]"], manifest }, (resolved, { positional, line }, io) =>
  runSub(planSub(resolved, positional, line), io),
)
