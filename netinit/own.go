package netinit

// ownDocument is stoker's own format.
type ownDocument struct {
	Version string `yaml:"version"`
}

func detectOwn(k keys) bool {
	return k.has("version") && k.has("links", "rules", "dns", "hosts", "hostname") && !k.has("networks", "ethernets", "vlans", "config")
}

func readOwn(name string, data []byte) (*Plan, *input, error) {
	_, in, err := decode[ownDocument](name, data, "version: 1")
	return &Plan{}, in, err
}
