//! Phones behind a NAT that forgets: network namespaces of this test's own, with a masquerading router between the phone and
//! the edge. Nothing outside of them is touched, and where they may not be made the tests say so and end.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::farm::Farm;
use crate::phone::Phone;
use crate::process::{need, run, secs};

/// How long the NAT remembers a UDP flow. Real ones take half a minute and more.
const REMEMBERED: Duration = Duration::from_secs(3);

/// The exit code of [`SCRIPT`] where namespaces, or masquerading in them, may not be made.
const FORBIDDEN: i32 = 77;

/// Three namespaces: $1-out has the farm, $1-nat the router, $1-in the phone. $2 is the farm's number, $3 how many seconds the
/// NAT remembers. What nobody inside asked for is dropped on the outside, as home routers do.
const SCRIPT: &str = r#"
out=$1-out nat=$1-nat in=$1-in
for ns in $out $nat $in; do ip netns del $ns 2>/dev/null; ip netns add $ns || exit 77; done
echo 'add table ip cb
add chain ip cb post { type nat hook postrouting priority 100; }
add rule ip cb post oifname "wan" masquerade
add chain ip cb input { type filter hook input priority 0; }
add rule ip cb input iifname "wan" drop' | ip netns exec $nat nft -f - || exit 77
set -e
for ns in $out $nat $in; do ip -n $ns link set dev lo up; done
ip link add wan netns $nat type veth peer name eth netns $out
ip link add lan netns $nat type veth peer name eth netns $in
address() { ip -n $1 addr add $3/24 dev $2 && ip -n $1 link set dev $2 up; }
address $out eth 198.18.$2.1
address $nat wan 198.18.$2.2
address $nat lan 10.$2.0.1
address $in eth 10.$2.0.2
ip -n $in route add default via 10.$2.0.1
ip netns exec $nat sh -c "cd /proc/sys/net && echo 1 >ipv4/ip_forward &&
    echo $3 >netfilter/nf_conntrack_udp_timeout && echo $3 >netfilter/nf_conntrack_udp_timeout_stream"
"#;

/// The namespaces of one test. They are removed with this, also when the test's process is killed, and by the next run at the
/// latest.
struct Nat {
    name: String,
    net: u8,
    keeper: Child,
}

impl Nat {
    /// Makes them, and takes this thread to where the farm is; what it starts from here on is there too. `None` where that is not
    /// allowed.
    fn new(net: u8) -> Option<Self> {
        need("ip");
        need("nft");
        let name = format!("cb-e2e-{net}");
        let nat = Nat { keeper: keeper(&name), name, net };
        let secs = REMEMBERED.as_secs().to_string();
        let made = run(Command::new("sh").args(["-c", SCRIPT, "sh", &nat.name, &net.to_string(), &secs]));
        if made.code == FORBIDDEN {
            eprintln!("SKIPPED: no network namespaces with masquerading may be made here: {}", made.stderr.trim());
            return None;
        }
        assert_eq!(made.code, 0, "{}{}", made.stdout, made.stderr);
        enter(&format!("{}-out", nat.name));
        Some(nat)
    }

    /// Where the phone reaches the edge.
    fn edge_at(&self) -> String {
        format!("198.18.{}.1:5060", self.net)
    }

    /// A phone behind the NAT.
    fn phone(&self, user: &str) -> Phone {
        let (inside, at) = (format!("{}-in", self.name), format!("10.{}.0.2:5060", self.net));
        let (user, edge) = (user.to_owned(), self.edge_at());
        let made = std::thread::spawn(move || {
            enter(&inside);
            Phone::on_udp(&user, &at, &edge)
        });
        made.join().unwrap()
    }

    fn farm(&self, keep_alive: &str) -> Farm {
        let farm = Farm::new(self.net).node("weight: 10").listen(&format!("udp://{}", self.edge_at()));
        farm.registrar(&["1001".to_owned()], &format!("  keep_alive: {keep_alive}\n")).with_asterisk()
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Waits until no other run of the tests has these namespaces. Then it waits for the end of its input, which comes with the end of the
/// test however that ends, and removes them; until then they are this run's.
fn keeper(name: &str) -> Child {
    let script = r#"exec 9>"$1" && flock -w 120 9 || exit 1
echo ours
cat >/dev/null
for ns in "$0-out" "$0-nat" "$0-in"; do ip netns del "$ns"; done"#;
    let lock = std::env::temp_dir().join(format!("{name}.lock"));
    let mut command = Command::new("sh");
    command.args(["-c", script, name]).arg(lock).process_group(0);
    let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "ours\n", "another run of the tests has the namespaces {name}");
    keeper
}

/// Takes this thread, and nothing but it, to a namespace.
#[allow(unsafe_code)]
fn enter(namespace: &str) {
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    // SAFETY: the call takes a descriptor, which is open, and a flag; it changes nothing in memory.
    let code = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(code, 0, "{namespace}: {}", std::io::Error::last_os_error());
}

fn registers(phone: &mut Phone) {
    let lines = phone.binding(600);
    assert_eq!(phone.registers(&lines).code(), 200);
}

/// A call from outside to the agent; the node sends him a re-INVITE, he holds and comes back, and either end hangs up.
fn is_called(caller: &mut Phone, phone: &mut Phone, phone_hangs_up: bool) {
    let dialled = caller.dials("142");
    let mut at_phone = phone.answers();
    let mut dialog = caller.connected(dialled);
    assert_eq!(phone.takes_reinvite(&at_phone), "sendrecv");
    assert_eq!(phone.reinvites(&mut at_phone, "sendonly"), "recvonly");
    assert_eq!(phone.reinvites(&mut at_phone, "sendrecv"), "sendrecv");
    if phone_hangs_up {
        phone.hangs_up(&mut at_phone);
        caller.until_hung_up(&[&dialog]);
    } else {
        caller.hangs_up(&mut dialog);
        phone.until_hung_up(&[&at_phone]);
    }
}

#[test]
fn a_phone_is_reached_long_after_its_nat_would_have_forgotten_it() {
    let Some(nat) = Nat::new(216) else { return };
    let farm = nat.farm("1s");
    let mut phone = nat.phone("1001");
    let mut caller = Phone::on_udp("+15551234", &format!("{}:5060", farm.ip(20)), &farm.edge_at());
    registers(&mut phone);
    assert_eq!(farm.edge().contacts_of("1001"), [phone.contact()]);
    for phone_hangs_up in [false, true] {
        let asked = phone.idles(REMEMBERED * 3);
        assert!(asked >= 3, "asked {asked} times");
        is_called(&mut caller, &mut phone, phone_hangs_up);
    }
    // A call of its own, which the node ends.
    let dialled = phone.dials("102");
    let own = phone.connected(dialled);
    phone.until_hung_up(&[&own]);
    farm.ends_well();
}

#[test]
fn without_keep_alive_a_phone_is_lost_when_its_nat_forgets_it_and_found_when_it_says_something() {
    let Some(nat) = Nat::new(217) else { return };
    let farm = nat.farm("0s");
    let mut phone = nat.phone("1001");
    let mut caller = Phone::on_udp("+15551234", &format!("{}:5060", farm.ip(20)), &farm.edge_at());
    registers(&mut phone);
    is_called(&mut caller, &mut phone, false);
    assert_eq!(phone.idles(REMEMBERED * 3), 0, "nobody asks it");
    let dialled = caller.dials("142");
    let code = caller.refused(dialled);
    assert!((400..500).contains(&code), "{code}");
    assert!(phone.receive().is_none(), "nothing came through");
    farm.edge().until_no_calls(secs(40));

    registers(&mut phone);
    is_called(&mut caller, &mut phone, true);
    farm.ends_well();
}
