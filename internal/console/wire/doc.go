// Package wire speaks the protocols of the console with clients: v4.channel.k8s.io, v5.channel.k8s.io and stoker.v1 over a
// websocket, and a plain POST.
//
// It reads requests and messages, and moves bytes between a connection and a console.Link. It does not authenticate: the guard of
// internal/api has done so before. What is wrong with a request is an error before the upgrade.
package wire
