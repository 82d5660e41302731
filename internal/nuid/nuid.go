// Package nuid takes the place of github.com/nats-io/nuid, which nats.go names its inboxes with (go.mod replaces it). The original
// reads random numbers in an init function. That starts a timer, for which Go's runtime needs descriptors, and without them it ends
// the process: stoker runs a command with four.
package nuid

import "crypto/rand"

// length is that of the original's names.
const length = 22

// Next returns a name that nothing else has, of letters and digits.
func Next() string { return rand.Text()[:length] }
