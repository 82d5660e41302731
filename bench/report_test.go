package main

import (
	"math"
	"testing"
)

func TestMedian(t *testing.T) {
	tests := []struct {
		name   string
		values []float64
		want   float64
		ok     bool
	}{
		{"nothing", nil, 0, false},
		{"one", []float64{3}, 3, true},
		{"odd", []float64{9, 1, 5}, 5, true},
		{"even", []float64{4, 1, 2, 9}, 3, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := median(tt.values)
			if math.Abs(got-tt.want) > 1e-9 || ok != tt.ok {
				t.Errorf("median(%v) = %v, %v, want %v, %v", tt.values, got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestCell(t *testing.T) {
	own, other := peer{name: stokerName}, peer{name: "other"}
	tests := []struct {
		name   string
		values map[string][]float64
		peer   peer
		want   string
	}{
		{"not measured", nil, other, "-"},
		{"stoker itself has no multiple", map[string][]float64{stokerName: {2}}, own, "2.00"},
		{"a multiple of stoker", map[string][]float64{stokerName: {2}, "other": {1000}}, other, "1000 (500x)"},
		{"without stoker", map[string][]float64{"other": {12.34}}, other, "12.3"},
		{"stoker took nothing", map[string][]float64{stokerName: {0}, "other": {1}}, other, "1.00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := (row{values: tt.values}).cell(tt.peer); got != tt.want {
				t.Errorf("cell = %q, want %q", got, tt.want)
			}
		})
	}
}
