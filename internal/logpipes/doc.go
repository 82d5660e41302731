// Package logpipes looks after the log pipes of services for the init: it finds out
// whether services write, and empties the pipes while no supervisor reads them.
package logpipes
