package clientconn

import "sync"

var writer sync.Mutex

// lockWriter lets commands that write pass one by one, so that what a filter found is still so when its document is
// written: FerretDB by itself reads, decides and writes in steps, where MongoDB promises one step for a document.
func lockWriter(command string) (unlock func()) {
	switch command {
	case "delete", "findAndModify", "findandmodify", "insert", "update":
		writer.Lock()
		return writer.Unlock
	default:
		return func() {}
	}
}
