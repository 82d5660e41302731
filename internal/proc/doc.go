// Package proc starts and signals processes. A Manager starts them as children of the init
// (clone with CLONE_PARENT), receives their exits from it and adopts those of an earlier
// supervisor; a Process is signalled together with the members of its service, wherever
// they have gone. It is the only package that starts processes. It reaps none, which the
// init does, and decides nothing about restarts.
package proc
