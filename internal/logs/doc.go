// Package logs has the output of services: it captures their pipes in a ring in memory,
// forwards it to the container's stdout and stderr in a format, writes it to files, and
// serves readers. It starts no process and has no policy about services; its state outlives
// the supervisor in a Store.
package logs
