//! `outbound tenants`: whom there is, and what is dispatched to them.

use std::io;
use std::path::Path;

use super::client;
use crate::observe::admin::view::{TenantList, TenantView};

/// Prints every tenant, as a table or in JSON.
pub(super) async fn run(socket: &Path, json: bool, out: &mut dyn io::Write) -> anyhow::Result<()> {
    let list: TenantList = client::get_json(socket, "/v1/tenants").await?;
    if json {
        serde_json::to_writer_pretty(&mut *out, &list)?;
        writeln!(out)?;
    } else {
        out.write_all(table(&list.tenants).as_bytes())?;
    }
    Ok(())
}

const HEAD: [&str; 6] = [
    "TENANT",
    "POLICY",
    "MODE",
    "CGROUPS",
    "NAMESPACE",
    "DISPATCHES",
];

fn table(tenants: &[TenantView]) -> String {
    let row = |tenant: &TenantView| {
        [
            tenant.name.clone(),
            tenant.policy.clone(),
            tenant.mode.clone(),
            tenant.cgroup_ids.len().to_string(),
            tenant.namespace.clone().unwrap_or_else(|| "-".to_owned()),
            tenant.dispatches.len().to_string(),
        ]
    };
    let rows: Vec<_> = tenants.iter().map(row).collect();
    let mut widths = HEAD.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let line = |cells: [&str; HEAD.len()]| {
        let cells = cells.iter().zip(widths);
        let padded: String = cells
            .map(|(cell, width)| format!("{cell:width$}  "))
            .collect();
        format!("{}\n", padded.trim_end())
    };
    let mut text = line(HEAD);
    for (tenant, row) in tenants.iter().zip(&rows) {
        text.push_str(&line(row.each_ref().map(String::as_str)));
        for one in &tenant.dispatches {
            text.push_str(&format!("  {}  {}\n", one.id, one.cgroup.display()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_tenant_is_a_line_with_its_dispatches_below() {
        let tenants = json!([
            {
                "name": "acme", "policy": "standard", "mode": "enforce", "cgroup_ids": [1, 2],
                "credentials": [], "namespace": "production",
                "dispatches": [{
                    "id": "0199", "worker": "acme", "cgroup": "/acme/1", "cgroup_id": 2,
                    "outbound": {},
                }],
            },
            {"name": "b", "policy": "p", "mode": "off", "cgroup_ids": [], "credentials": []},
        ]);
        let tenants: Vec<TenantView> = serde_json::from_value(tenants).unwrap();
        assert_eq!(
            table(&tenants),
            "TENANT  POLICY    MODE     CGROUPS  NAMESPACE   DISPATCHES\n\
             acme    standard  enforce  2        production  1\n\
             \x20 0199  /acme/1\n\
             b       p         off      0        -           0\n"
        );
    }
}
