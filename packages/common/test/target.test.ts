import { describe, expect, it } from "vitest"
import { describeTarget, parseTargetUrl } from "@mqtt-trio/common"

describe("parseTargetUrl", () => {
  it.each([
    ["mqtt://h", "mqtt://h:1883"],
    ["mqtt://127.0.0.1", "mqtt://127.0.0.1:5112"],
    ["mqtts://h", "mqtts://h:8883"],
    ["ws://h", "ws://h:80/mqtt"],
    ["wss://h:1/x?y=1", "wss://h:1/x?y=1"],
    ["mqtt://[::1]:7", "mqtt://[::1]:7"],
    ["mqtt+unix:///run/m.sock", "mqtt+unix:///run/m.sock"],
    ["MQTT://h", "mqtt://h:1883"],
  ])("%s is %s", (url, expected) => {
    expect(describeTarget(parseTargetUrl(url).target)).toBe(expected)
  })

  it("decodes user, password and topic, however they are written", () => {
    const { username, password, topic, target } = parseTargetUrl("mqtt://u:p%3Aw%40@h:1/a%20b/+/#")
    expect({ username, password, topic, target: describeTarget(target) }).toEqual({
      username: "u",
      password: "p:w@",
      topic: "a b/+/#",
      target: "mqtt://h:1",
    })
    expect(parseTargetUrl("mqtt://u:p:w@h")).toMatchObject({ username: "u", password: "p:w" })
  })

  it.each(["", "h", "http://h", "mqtt://", "mqtt:h", "mqtt://h:99999", "mqtt://h/%zz", "mqtt+unix://"])(
    "%j is refused with an example",
    (url) => {
      expect(() => parseTargetUrl(url)).toThrow(/URL/)
    },
  )

  it("never repeats a password in a message", () => {
    expect(() => parseTargetUrl("mqqt://u:secret@h")).toThrow(/u:\*\*\*@h/)
  })
})
