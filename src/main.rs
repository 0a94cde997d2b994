//! placeholder until the command line is written
fn main() {
    println!("vipd {}", env!("CARGO_PKG_VERSION"));
}
