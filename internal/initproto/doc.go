// Package initproto is the protocol between the init and the supervisor: the
// messages with their encoding, the socket that carries them, and the format of
// the stop plan. It keeps no state; internal/pid1 and internal/proc act on the
// messages.
package initproto
