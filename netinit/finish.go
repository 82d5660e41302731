package netinit

// finish checks a draft and makes it a plan: it normalises values, orders links and routes, and chooses metrics and on-link flags.
func finish(in *input, plan *Plan) {
}
