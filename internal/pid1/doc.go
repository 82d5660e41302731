// Package pid1 is the init role of stoker and the wire between it and the
// supervisor. The init waits for every child, relays signals, keeps the bag of
// state and descriptors that a restarted supervisor gets back, restarts that
// supervisor, and ends the container. It knows nothing of services, of the
// configuration or of the API, parses none of the blobs it keeps but the stop
// plan, and imports only the standard library and x/sys: it must not be able
// to fail.
package pid1
