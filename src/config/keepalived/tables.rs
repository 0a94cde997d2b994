//! What becomes of each directive of keepalived 2.4 that needs no code of its own. Tables are texts, a line
//! each: `KEYWORD... SIGN REST`. (A table of pointers costs a relocation for each.) The signs:
//!
//! ```text
//! -        nothing is written; vipd does that in any case, or it has no bearing
//! !        it is not carried over, because
//! >        its first value under this key, or its own name
//! =        this line
//! n and s  KEY MIN MAX, a whole number, or seconds with up to three decimals
//! N        KEY MIN MAX, a whole number that is a default of every virtual router
//! ```

use crate::base::packed::Packed;
use crate::packed;

/// The sign and the rest of the line of a keyword.
pub(super) fn rule(table: Packed, keyword: &str) -> Option<(char, String)> {
    for line in table.lines() {
        let line = line.text();
        let mut rest = line.as_str();
        let mut found = false;
        while let Some((word, behind)) = rest.split_once(' ') {
            if word.len() == 1 {
                if found {
                    return Some((word.chars().next()?, behind.to_owned()));
                }
                break;
            }
            found |= word == keyword;
            rest = behind;
        }
    }
    None
}

/// `global_defs`
pub(super) const GLOBAL: Packed = packed!(
    "\
router_id > \n\
notification_email notification_email_from smtp_server smtp_connect_timeout smtp_alert smtp_alert_vrrp - \n\
lvs_id > router_id\n\
vrrp_startup_delay s startup_delay 0 3600\n\
vrrp_rt_priority n realtime_priority 0 99\n\
vrrp_no_swap = lock_memory = yes\n\
vrrp_down_timer_adverts N down_timer_adverts 1 100\n\
vrrp_garp_master_delay N garp_master_delay 0 3600\n\
vrrp_garp_master_repeat N garp_master_repeat 1 100\n\
vrrp_garp_master_refresh N garp_master_refresh 0 86400\n\
vrrp_garp_master_refresh_repeat N garp_master_refresh_repeat 1 100\n\
vrrp_garp_lower_prio_delay N garp_lower_prio_delay 0 3600\n\
vrrp_garp_lower_prio_repeat N garp_lower_prio_repeat 0 100\n\
vrrp_strict ! the firewall rules and the refusals of strict mode do not exist here; it also turns authentication off, as with keepalived\n\
enable_script_security use_symlink_paths ! vipd starts commands without a shell and warns of those that others may change\n\
vrrp_skip_check_adv_addr ! every advert's list of addresses is compared\n\
vrrp_check_unicast_src dynamic_interfaces - \n\
vrrp_mcast_group4 vrrp_mcast_group6 ! vipd speaks only to the RFC's groups, 224.0.0.18 and ff02::12: a keepalived with another one does not hear it, and both become master\n\
vrrp_delay_after_boot ! vipd counts from its own start: see startup_delay\n\
vrrp_priority vrrp_cpu_affinity vrrp_rlimit_rttime vrrp_rlimit_rtime ! see realtime_priority, or the unit that starts vipd\n\
notify ! keepalived has no `notify` in global_defs and ignores it; [global] of vipd.ini has one, for all\n\
notify_fifo notify_fifo_script vrrp_notify_fifo vrrp_notify_fifo_script fifo_write_vrrp_states_on_reload ! instead: `vipd status --watch`, which writes every change as a line\n\
vrrp_notify_priority_changes ! hooks are called for changes of state only\n\
startup_script startup_script_timeout shutdown_script shutdown_script_timeout ! the unit that starts vipd has a place for it\n\
net_namespace net_namespace_ipvs namespace_with_ipsets ! start vipd in the network namespace: `ip netns exec NAME vipd`\n\
smtp_helo_name ! vipd says its host name\n\
no_email_faults ! mails tell of FAULT, too\n\
default_interface ! write `interface` into each [vrrp NAME]\n\
vrrp_lower_prio_no_advert vrrp_higher_prio_send_advert vrrp_owner_ignore_adverts vrrp_garp_extra_if vrrp_vmac_garp_intvl vrrp_min_garp ! vipd decides that itself\n\
process_names process_name vrrp_process_name child_wait_time use_pid_dir instance umask random_seed reload_check_config reload_time_file reload_repeat reload_file include_check config_save_dir tmp_config_directory data_use_instance json_version iproute_usr_dir iproute_etc_dir state_dump_file stats_dump_file json_dump_file set_supplementary_groups max_auto_priority min_auto_priority_delay ! it has no counterpart: vipd is one process\n\
vrrp_netlink_cmd_rcv_bufs vrrp_netlink_cmd_rcv_bufs_force vrrp_netlink_monitor_rcv_bufs vrrp_netlink_monitor_rcv_bufs_force process_monitor_rcv_bufs process_monitor_rcv_bufs_force vrrp_rx_bufs_policy vrrp_rx_bufs_multiplier disable_local_igmp log_unknown_vrids vmac_prefix vmac_addr_prefix ! vipd decides that itself\n\
vrrp_iptables vrrp_ipsets nftables nftables_priority nftables_ifindex nftables_counters ! vipd needs no firewall rules of that kind\n\
snmp_socket enable_traps enable_snmp_vrrp enable_snmp_keepalived enable_snmp_rfc enable_snmp_rfcv2 enable_snmp_rfcv3 enable_snmp_checker snmp_vs_stats_update_interval snmp_rs_stats_update_interval enable_dbus dbus_service_name dbus_no_interface_name ! instead: `vipd status --json` and `--metrics`\n\
smtp_alert_checker checker_log_all_failures checker_process_name lvs_process_name bfd_process_name lvs_timeouts lvs_flush lvs_flush_on_stop lvs_flush_onstop lvs_sync_daemon nftables_ipvs nftables_ipvs_priority nftables_ipvs_start_fwmark lvs_notify_fifo lvs_notify_fifo_script checker_priority checker_no_swap checker_rt_priority checker_cpu_affinity checker_rlimit_rttime checker_rlimit_rtime bfd_priority bfd_no_swap bfd_rt_priority bfd_cpu_affinity bfd_rlimit_rttime bfd_rlimit_rtime lvs_netlink_cmd_rcv_bufs lvs_netlink_cmd_rcv_bufs_force lvs_netlink_monitor_rcv_bufs lvs_netlink_monitor_rcv_bufs_force rs_init_notifies no_checker_emails ! vipd balances nothing: that is HAProxy's part"
);

/// What stands beside the sections that are translated.
pub(super) const OTHER: Packed = packed!(
    "\
global_defs vrrp_script vrrp_track_process vrrp_process vrrp_instance vrrp_sync_group - \n\
virtual_server virtual_server_group SSL ssl ! vipd balances nothing: that is HAProxy's part\n\
static_ipaddress static_routes static_rules track_group ! it belongs to the network configuration of the machine\n\
vrrp_track_file track_file ! a [check NAME] of type exec can read a file\n\
bfd_instance ! vipd has no BFD: a [check NAME] of type ping can watch the other end\n\
garp_group linkbeat_interfaces linkbeat_use_polling interface_up_down_delays ! it has no counterpart\n\
net_namespace net_namespace_ipvs namespace_with_ipsets ! start vipd in the network namespace: `ip netns exec NAME vipd`\n\
use_pid_dir instance child_wait_time ! it has no counterpart: vipd is one process"
);

/// `vrrp_instance`
pub(super) const ROUTER: Packed = packed!(
    "\
interface > \n\
virtual_router_id n virtual_router_id 1 255\n\
down_timer_adverts n down_timer_adverts 1 100\n\
garp_master_delay n garp_master_delay 0 3600\n\
garp_master_repeat n garp_master_repeat 1 100\n\
garp_master_refresh n garp_master_refresh 0 86400\n\
garp_master_refresh_repeat n garp_master_refresh_repeat 1 100\n\
garp_lower_prio_delay n garp_lower_prio_delay 0 3600\n\
garp_lower_prio_repeat n garp_lower_prio_repeat 0 100\n\
version native_ipv6 accept check_unicast_src promote_secondaries debug smtp_alert vmac_xmit_base nopreempt preempt - \n\
mcast_src_ip unicast_src_ip unicast_peer virtual_ipaddress virtual_ipaddress_excluded authentication auth_hmac - \n\
track_interface track_script track_process notify notify_master notify_backup notify_fault notify_stop - \n\
unicast_ttl ! vipd sends with a TTL of 255\n\
notify_deleted notify_master_rx_lower_pri notify_priority_changes ! hooks are called for changes of state only\n\
dont_track_primary = dont_track_primary = yes\n\
no_accept = accept = no\n\
strict_mode ! the firewall rules and the refusals of strict mode do not exist here; it also turns authentication off, as with keepalived\n\
virtual_routes virtual_rules ! vipd moves no routes: a notify hook can do it\n\
track_file ! a [check NAME] of type exec can read a file, and `track` it\n\
track_bfd ! vipd has no BFD: a [check NAME] of type ping can watch the other end\n\
mcast_dst_ip ! vipd speaks only to the RFC's groups, 224.0.0.18 and ff02::12: a keepalived with another one does not hear it, and both become master\n\
no_virtual_ipaddress ! vipd needs an address to lead\n\
use_ipvlan use_vmac_addr ! only `use_vmac` exists, without a value\n\
vrf ! start vipd in the VRF: `ip vrf exec NAME vipd`\n\
lvs_sync_daemon_interface ! vipd balances nothing: that is HAProxy's part\n\
track_src_ip linkbeat_use_polling kernel_rx_buf_size old_unicast_checksum skip_check_adv_addr timer_expired_backup thread_timer_expired garp_extra_if vmac_garp_intvl lower_prio_no_advert higher_prio_send_advert owner_ignore_adverts unicast_fault_no_peer ! vipd decides that itself"
);

/// `auth_hmac`
pub(super) const HMAC: Packed = packed!(
    "\
active_key > auth_hmac_active_key\n\
anti_replay > auth_hmac_anti_replay\n\
time_window > auth_hmac_time_window\n\
mode > auth_hmac_mode"
);

/// `vrrp_sync_group`
pub(super) const GROUP: Packed = packed!(
    "\
group track_interface track_script track_process notify_master notify_backup notify_fault notify_stop smtp_alert sync_group_tracking_weight - \n\
global_tracking - \n\
track_file ! a [check NAME] of type exec can read a file, and every member can `track` it\n\
track_bfd ! vipd has no BFD: a [check NAME] of type ping can watch the other end\n\
notify ! `notify` in [global] is called for groups, too, with the same words\n\
notify_priority_changes ! hooks are called for changes of state only"
);
