"""`nic completion`: the script that completes command lines of nic with Tab."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

_BASH = r"""# Tab completion of nic for bash 4 or later. nic itself answers, so the script does not go out of date.
_nic() {
  local line IFS=$'\n' prefix="" files="" found=() current="${COMP_LINE:0:COMP_POINT}"
  local words=("${COMP_WORDS[@]:1:COMP_CWORD}")
  local wanted="${words[-1]}"
  # bash splits words at "=", and completes what stands behind it
  local joined=() word
  for word in "${words[@]}"; do
    if [[ ${#joined[@]} -gt 0 && ( $word == "=" || ${joined[-1]} == *= ) && ${joined[-1]} == -* ]]; then
      joined[-1]+="$word"
    else
      joined+=("$word")
    fi
  done
  [[ $wanted == "=" ]] && wanted=""
  while read -r line; do
    case "$line" in
      $'\x1f'begin) found=() ;;
      $'\x1f'files) files=1 ;;
      $'\x1f'*) ;;
      *) found+=("${line%%$'\t'*}") ;;
    esac
  done < <(CYCLOPTS_COMPLETION_WORDS="$(printf '%s\x1f' "${joined[@]}")" "${COMP_WORDS[0]}" __complete 2>/dev/null)
  COMPREPLY=()
  for word in "${found[@]}"; do
    [[ $word == "$wanted"* ]] && COMPREPLY+=("$word")
  done
  if [[ -n $files ]]; then
    compopt -o filenames 2>/dev/null
    while read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$wanted")
  fi
}
complete -F _nic nic
"""


def completion(shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(name="SHELL")] = "bash", /) -> None:
    """Print the script that completes command lines of nic with Tab: commands, options, their choices, files.

    Put it where the shell looks for such scripts, and open a new shell. In bash that needs the package
    bash-completion; without it, write the script to a file of yours, and source that in ~/.bashrc.

    Args:
        shell: for which shell

    Examples:
        nic completion bash > ~/.local/share/bash-completion/completions/nic
        nic completion zsh > ~/.zfunc/_nic
        nic completion fish > ~/.config/fish/completions/nic.fish
    """
    if shell == "bash":
        print(_BASH, end="")
        return
    from nic_lightning.commands.app import build_app

    print(build_app().generate_completion(prog_name="nic", shell=shell), end="")
