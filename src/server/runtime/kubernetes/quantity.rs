//! Amounts as Kubernetes writes them (`156340091n`, `1930m`, `24Gi`): pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube_quantity::ParsedQuantity;

/// By what they are of.
pub(super) type Quantities = BTreeMap<String, Quantity>;

/// Thousandths of a core.
pub(super) fn cpu_milli(all: &Quantities) -> Option<u64> {
    Some((amount(all, "cpu")? * 1000.0).round() as u64)
}

/// Bytes.
pub(super) fn memory_bytes(all: &Quantities) -> Option<u64> {
    Some(amount(all, "memory")?.round() as u64)
}

fn amount(all: &Quantities, of: &str) -> Option<f64> {
    ParsedQuantity::try_from(all.get(of)?).ok()?.to_bytes_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        for (cpu, memory, milli, bytes) in [
            ("156340091n", "29500Ki", Some(156), Some(29500 << 10)),
            ("250000u", "24Gi", Some(250), Some(24 << 30)),
            ("1930m", "129M", Some(1930), Some(129_000_000)),
            ("1.5", "1e3", Some(1500), Some(1000)),
            ("2", "4096", Some(2000), Some(4096)),
            ("0", "128974848000m", Some(0), Some(128_974_848)),
            ("x", "much", None, None),
            ("", "1Q", None, None),
        ] {
            let all =
                [("cpu", cpu), ("memory", memory)].map(|(name, text)| (name.to_owned(), Quantity(text.to_owned())));
            let all = Quantities::from(all);
            assert_eq!((cpu_milli(&all), memory_bytes(&all)), (milli, bytes), "{cpu} {memory}");
        }
        assert_eq!((cpu_milli(&Quantities::new()), memory_bytes(&Quantities::new())), (None, None));
    }
}
