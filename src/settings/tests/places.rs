//! Where values come from, and which of them counts.

use super::*;

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let batch_size = |given: Given| given.settings().files.limits.batch_size_changes;
    assert_eq!(batch_size(Given::of(&LOCAL)), 1000);
    let with_file = || Given::of(&LOCAL).env_file("BATCH_SIZE=2\n");
    assert_eq!(batch_size(with_file()), 2);
    let with_environment = || with_file().and(&[("BATCH_SIZE", "3")]);
    assert_eq!(batch_size(with_environment()), 3);
    for args in [
        &["--batch-size", "4"][..],
        &["--batch-size=4"],
        &["run", "--batch-size", "4"],
        &["--batch-size", "4", "run"],
    ] {
        assert_eq!(batch_size(with_environment().args(args)), 4);
    }
}

#[test]
fn what_does_not_count_is_not_judged() {
    let given = Given::of(&LOCAL)
        .env_file("BATCH_SIZE=bad\n")
        .and(&[("BATCH_SIZE", "3")]);
    assert_eq!(given.settings().files.limits.batch_size_changes, 3);
}

#[test]
fn an_empty_variable_hides_the_files() {
    let given = Given::of(&AZURE)
        .env_file("AZURE_STORAGE_ACCOUNT_KEY=a2V5\n")
        .and(&[("AZURE_STORAGE_ACCOUNT_KEY", "")]);
    let location = given.settings().lake.location;
    let LakeLocation::Azure { credential, .. } = location else {
        panic!("{location:?}");
    };
    assert!(matches!(credential, AzureCredential::Entra(_)));
}

#[test]
fn messages_say_where_a_value_came_from() {
    let given = Given::of(&LOCAL).env_file("# one\nBATCH_SIZE=bad\n");
    assert!(given.problem().contains(", line 2): not a whole number"));
    let given = Given::of(&LOCAL).args(&["--batch-size=-1"]);
    assert!(
        given
            .problem()
            .starts_with("BATCH_SIZE=-1 (given as --batch-size): negative")
    );
    let given = Given::of(&LOCAL).args(&["--batch-size", "-1"]);
    assert!(
        given
            .problem()
            .starts_with("BATCH_SIZE=-1 (given as --batch-size): negative")
    );
}

#[test]
fn bad_lines_of_the_file_are_named_without_their_text() {
    let given = Given::of(&LOCAL).env_file("OK=1\ncanary\nX=\"canary\n");
    let (problems, text) = given.problems();
    assert_eq!(problems.len(), 2);
    assert!(text.contains(", line 2: there is no `=` in this line; write NAME=VALUE"));
    assert!(text.contains(", line 3: its quote isn't closed"));
    assert!(!text.contains("canary"));
}

#[test]
fn a_setting_twice_in_the_file_is_refused_and_another_name_is_not() {
    let given = Given::of(&LOCAL).env_file("TZ=UTC\nX=1\nX=2\nTZ=Europe/Berlin\n");
    let problem = given.problem();
    assert!(problem.starts_with("TZ: it is set in "), "{problem}");
    assert!(problem.contains("twice, in lines 1 and 4"), "{problem}");
}

#[test]
fn unknown_names_in_the_file_are_warned_of() {
    let given = Given::of(&LOCAL).env_file("BATCHSIZE=5\nTEMP_DIR=./temp\nHOME=/x\n");
    let warnings = given.load().unwrap().warnings;
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].ends_with("line 1: BATCHSIZE is not a setting; did you mean BATCH_SIZE?"));
    assert!(warnings[1].contains("line 2: TEMP_DIR is no longer needed"));

    let given = Given::of(&LOCAL).and(&[("TEMP_DIR", "./temp")]);
    assert!(given.load().unwrap().warnings[0].starts_with("TEMP_DIR is no longer needed"));
}

#[test]
fn a_file_that_is_asked_for_must_be_there_and_the_usual_one_need_not() {
    let missing = std::path::Path::new("/nowhere/at/all/.env");
    let given = Given::of(&LOCAL);
    let surroundings = Surroundings {
        environment: &|name| given.environment.get(name).cloned(),
        default_env_file: Some(missing),
        is_terminal: false,
        now_unix_ms: NOW_UNIX_MS,
    };
    assert!(load(["silt".into()], &surroundings).is_ok());

    let path = missing.to_str().unwrap();
    let problem = Given::of(&LOCAL).args(&["--env-file", path]).problem();
    assert!(
        problem.starts_with("/nowhere/at/all/.env: it can't be read"),
        "{problem}"
    );
    let folder = std::env::temp_dir();
    let given = Given::of(&LOCAL).args(&["--env-file", folder.to_str().unwrap()]);
    assert!(given.problem().contains("it can't be read"));
}

#[test]
fn the_nodes_file_works_as_it_is() {
    let settings = Given::default()
        .env_file(
            "# MongoDB\nMONGODB_URI=mongodb://u:p$w@h:27017/?replicaSet=rs0\nMONGODB_DATABASE=mydb\n\
             MONGODB_COLLECTIONS=users, orders\n\nAZURE_STORAGE_ACCOUNT_NAME=acct\n\
             AZURE_STORAGE_ACCOUNT_KEY=a2V5\nAZURE_ADLS_FILESYSTEM=changestreams\n\
             DUMP_SCHEDULE=0 * * * *\nTZ=UTC\nBATCH_SIZE=1000\nRETRY_ATTEMPTS=3\nRETRY_DELAY_MS=1000\n\
             TEMP_DIR=./temp\nMAX_FILE_SIZE=104857600\nLOG_LEVEL=info\n",
        )
        .settings();
    assert_eq!(settings.schedule.text, "0 * * * *");
    assert_eq!(
        settings.source.uri.reveal(),
        "mongodb://u:p$w@h:27017/?replicaSet=rs0"
    );
    assert_eq!(
        settings.source.collections.names().unwrap(),
        ["users", "orders"]
    );
    assert_eq!(settings.files.limits.file_limit_bytes, 100 << 20);
}
