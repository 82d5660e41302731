// Package console runs the sessions of operators: a shell or a command in the container, with or without a terminal, to which
// clients attach.
//
// A Manager opens sessions and knows those that run. A Session is a process with its output in a ring; it goes on without a client
// as long as its Spec allows, and it survives the death of the supervisor. A Link is what one client has of it: at most one holds
// the keyboard, others view.
//
// The package knows no protocol and no file: internal/console/wire speaks to clients, recording and audit write.
package console
