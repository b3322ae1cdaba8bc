//! What an administrator is to grant, in the words of `mongosh`.

use crate::source::preflight::Account;

/// What is missing, and the built-in role that holds it.
pub(super) struct Missing<'a> {
    /// Empty for all.
    pub database: &'a str,
    /// Empty for all of the database's.
    pub collection: &'a str,
    /// Empty if it can't be told.
    pub actions: &'a [&'a str],
    pub role: &'a str,
}

impl Missing<'_> {
    /// Adds no more than is missing to the role that was made for silt; where there is none such, gives the
    /// user the built-in one.
    pub(super) fn fix(&self, account: &Account) -> String {
        let database = quoted(self.database);
        let own = account.own_role(self.database);
        if let Some((role, of)) = own.filter(|_| !self.actions.is_empty()) {
            let actions: Vec<String> = self.actions.iter().map(|action| quoted(action)).collect();
            return format!(
                "db.getSiblingDB({}).grantPrivilegesToRole({}, [{{resource: {{db: {database}, collection: {}}}, \
                 actions: [{}]}}])",
                quoted(of),
                quoted(role),
                quoted(self.collection),
                actions.join(", ")
            );
        }
        // Roles on all databases are those of admin.
        let of = if self.database.is_empty() {
            "admin"
        } else {
            self.database
        };
        let role = format!("{{role: {}, db: {}}}", quoted(self.role), quoted(of));
        match &account.user {
            Some((user, of)) => format!(
                "db.getSiblingDB({}).grantRolesToUser({}, [{role}])",
                quoted(of),
                quoted(user)
            ),
            None => format!("grant silt's user the role {role}"),
        }
    }
}

/// A text in quotes.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
