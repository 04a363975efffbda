//! MQTT over every transport: the binary. All of it is in the library beside it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// glibc's allocator keeps the pages that one small piece of memory lies on: after a storm of clients it held nearly
/// all that the storm had taken. This one gives them back within seconds.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    mqway::Program::new().run()
}
