// Package logpipes monitors the log pipes of services for the init: it reports writes, and
// drains the pipes while no supervisor reads them.
package logpipes
