import { bears } from "./bounds.js"

bears("normal load")
