//! VRRP: the packets on the wire.

pub mod packet;
