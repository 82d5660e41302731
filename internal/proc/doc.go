// Package proc is the supervisor's side of every process: it starts children
// of the init (clone with CLONE_PARENT), receives their exits, signals them and
// their groups, and captures their output. It is the only package that starts
// processes. It never waits for them: the init does, and its word comes by the
// wire of internal/pid1. It decides nothing about restarts.
package proc
