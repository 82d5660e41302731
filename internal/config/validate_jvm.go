package config

import (
	"slices"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

func (v *validator) jvm() {
	v.flavors()
	for layer, env := range map[string][]string{"jvm.default": v.raw.JVM.Default.Env, "jvm.enforced": v.raw.JVM.Enforced.Env} {
		if len(env) > 0 {
			v.Bad(layeredyaml.Join(layer, "env"), "move it to jvm.user.env", "only the user layer reads variables")
		}
	}
}

// flavors checks the flavor and the profiles.
func (v *validator) flavors() {
	const flavor, list = "jvm.flavor", "jvm.flavors"
	is := v.raw.JVM.Flavor
	if path := layeredyaml.Join(flavor, "cpus"); is.CPUs < 0 || is.CPUs == 0 && v.IsSet(path) {
		v.Bad(path, "remove the key to use the cgroup's limit", "%v is not above 0", is.CPUs)
	}
	var names []string
	for i, p := range v.raw.JVM.Flavors {
		at := layeredyaml.Index(list, i)
		switch path := layeredyaml.Join(at, "name"); {
		case p.Name == "":
			v.Missing(path, "", "a flavor needs a name")
		case slices.Contains(names, p.Name):
			v.Bad(path, "give it another name", "there is another flavor %s", layeredyaml.Quote(path, p.Name))
		}
		names = append(names, p.Name)
		for _, f := range p.Check() {
			v.Bad(at+"."+f.Key, "", "%s", f.Message)
		}
	}
	if path := layeredyaml.Join(flavor, "name"); is.Name != "" && !slices.Contains(names, is.Name) {
		v.Missing(path, layeredyaml.DidYouMean(is.Name, names), "there is no %s among jvm.flavors", layeredyaml.Quote(path, is.Name))
	}
}
