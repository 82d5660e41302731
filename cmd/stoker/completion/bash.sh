# bash completion for stoker: source <(stoker completion bash)
_stoker() {
    local line word
    local -a words=()
    # bash cuts words at = and :, which stoker does not.
    for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
        if [[ ${#words[@]} -gt 0 && ( $word == [=:] || ${words[-1]} == --*= || ${words[-1]} == *: ) ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
    done
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            compopt -o default
            continue
        fi
        line=${line%%$'\t'*}
        if [[ ${words[-1]} == --*=* ]]; then
            line=${line#*=}
        fi
        COMPREPLY+=("$line")
    done < <("$1" __complete -- "${words[@]}" 2>/dev/null)
}
complete -F _stoker stoker
