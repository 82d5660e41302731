// Package executor runs jobs: programs that an operator, a host agent or a distributed engine submits. An accepted job is on disk
// before its submitter gets an answer, is started once, and ends in exactly one state.
//
//   - Spec is what is to be run, Job is its state and how it ended.
//   - Executor accepts, queues, starts, stops and remembers jobs. One goroutine owns their states.
//   - The journal (package journal) keeps them over the death of the supervisor, of the container and of the machine.
//
// The package starts processes through a Host, and knows no service: the environment of one comes from the Host.
package executor
