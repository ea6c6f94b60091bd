import {
  createDiagnostics,
  createProgram,
  helpText,
  listenForStop,
  normalizeArguments,
  resolveOptions,
  runMain,
  runProgram,
  writeOut,
} from "@mqtt-trio/common"
import { pubHelp, pubOptions } from "./options.js"
import { planPub } from "./rules.js"
import { runPub } from "./run-pub.js"
import { VERSION } from "./version.js"

void runMain(async () => {
  const program = createProgram(pubHelp, pubOptions, VERSION).argument("[topic]").argument("[message]").allowExcessArguments(true)
  let exitCode = 0
  program.action(async () => {
    const resolved = resolveOptions(program, pubOptions)
    const { host, quiet, debug, noColor } = resolved.values
    if (host === true) {
      await writeOut(helpText(pubHelp, pubOptions))
      return
    }
    const plan = planPub(resolved, program.args)
    const stop = listenForStop()
    try {
      exitCode = await runPub(plan, { diagnostics: createDiagnostics({ quiet, debug, color: !noColor }), stop })
    } finally {
      stop.dispose()
    }
  })
  await runProgram(program, normalizeArguments(process.argv.slice(2), pubOptions))
  return exitCode
})
