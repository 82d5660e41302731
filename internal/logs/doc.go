// Package logs holds what services write: it captures their pipes in a ring in memory,
// forwards it to the container's stdout and stderr in a format, writes it to files that
// it rotates, and serves readers. It starts no process and decides nothing about
// services; its state outlives the supervisor in a Store.
package logs
