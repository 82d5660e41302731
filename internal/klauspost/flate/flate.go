// Package flate takes the place of github.com/klauspost/compress/flate, with which nats.go compresses the frames of websockets (go.mod
// replaces it): that of the standard library does the same, and is part of the program anyway.
package flate

import (
	"compress/flate"
	"io"
)

// BestSpeed is the level that is used.
const BestSpeed = flate.BestSpeed

// Writer compresses.
type Writer = flate.Writer

// Resetter is implemented by what NewReader returns.
type Resetter = flate.Resetter

// NewReader returns a decompressor.
func NewReader(r io.Reader) io.ReadCloser { return flate.NewReader(r) }

// NewWriter returns a compressor.
func NewWriter(w io.Writer, level int) (*Writer, error) { return flate.NewWriter(w, level) }
