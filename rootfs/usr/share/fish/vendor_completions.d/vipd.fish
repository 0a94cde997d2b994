# fish completion for vipd(8)
set --local commands status reload upgrade resign import help version
complete -c vipd -n "not __fish_seen_subcommand_from $commands; and not __fish_contains_opt -s t" -f -a "$commands"
complete -c vipd -n "__fish_seen_subcommand_from status reload upgrade resign help version" -f
complete -c vipd -n "not __fish_seen_subcommand_from import help version" -s c -l config -rF -d 'configuration'
complete -c vipd -n "not __fish_seen_subcommand_from $commands" -s t -d 'check the configuration'
complete -c vipd -n "not __fish_seen_subcommand_from $commands" -s h -l help
complete -c vipd -n "not __fish_seen_subcommand_from $commands" -s V -l version
complete -c vipd -n "__fish_seen_subcommand_from status" -f -l json
complete -c vipd -n "__fish_seen_subcommand_from status" -f -l metrics
complete -c vipd -n "__fish_seen_subcommand_from status" -f -l watch
complete -c vipd -n "__fish_seen_subcommand_from status" -f -l check
complete -c vipd -n "__fish_seen_subcommand_from reload" -f -l dry-run
complete -c vipd -n "__fish_seen_subcommand_from reload" -f -l haproxy
complete -c vipd -n "__fish_seen_subcommand_from resign" -x -l for -d 'seconds'
complete -c vipd -n "__fish_seen_subcommand_from resign" -f -l force
complete -c vipd -n "__fish_seen_subcommand_from import" -x -s i -d 'node'
