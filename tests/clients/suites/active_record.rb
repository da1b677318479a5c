# ActiveRecord 6.1: two migrations, and what an application does with their tables. A step that goes wrong
# prints "--- NAME" and the error; the last line is "passed total".
require 'active_record'

ActiveRecord::Base.establish_connection(
  adapter: 'postgresql', host: ENV['PGHOST'], port: ENV['PGPORT'].to_i,
  username: ENV['PGUSER'], password: ENV['PGPASSWORD'], database: ENV['PGDATABASE']
)
ActiveRecord::Migration.verbose = false

class CreateUsers < ActiveRecord::Migration[6.1]
  def change
    create_table(:ar_users) do |t|
      t.string :email, null: false
      t.jsonb :details
      t.decimal :amt, precision: 10, scale: 2
      t.timestamps
    end
    add_index :ar_users, :email, unique: true
    create_table(:ar_posts) do |t|
      t.references :user, foreign_key: { to_table: :ar_users, on_delete: :cascade }
      t.text :body
    end
  end
end

class ChangeUsers < ActiveRecord::Migration[6.1]
  def change
    add_column :ar_users, :nick, :string, default: 'x', null: false
    reversible do |way|
      way.up { change_column :ar_users, :email, :text }
      way.down { change_column :ar_users, :email, :string }
    end
    rename_column :ar_users, :amt, :amount
    remove_column :ar_users, :details, :jsonb
    add_index :ar_users, 'lower(email)'
    add_check_constraint :ar_users, 'amount > 0', name: 'positive'
    reversible do |way|
      way.up { execute "insert into ar_users (email, created_at, updated_at) values ('s', now(), now())" }
      way.down { execute "delete from ar_users where email = 's'" }
    end
  end
end

class User < ActiveRecord::Base
  self.table_name = 'ar_users'
  has_many :posts, dependent: :destroy
  validates :email, uniqueness: true
end

class Post < ActiveRecord::Base
  self.table_name = 'ar_posts'
  belongs_to :user
end

$passed = $total = 0

def step(name)
  $total += 1
  result = yield
  raise "is #{result.inspect}" unless result
  $passed += 1
rescue StandardError, NotImplementedError => error
  puts "--- #{name}", "error: #{error.message.lines.first}"
end

def migrate(version, kind)
  migrations = [[1, CreateUsers], [2, ChangeUsers]].map { |number, type| type.new(type.name, number) }
  ActiveRecord::Migrator.new(kind, migrations, ActiveRecord::SchemaMigration, version).migrate
end

connection = ActiveRecord::Base.connection
step('migrate up') { migrate(1, :up) }
step('migrate on') { migrate(2, :up) }
step('columns') { User.column_names.sort == %w[amount created_at email id nick updated_at] }
step('types') { User.columns_hash.values_at('email', 'amount', 'nick').map { |c| c.type.to_s } == %w[text decimal string] }
step('primary key') { User.primary_key == 'id' && connection.primary_keys('ar_users') == ['id'] }
step('row of the migration') { User.find_by(email: 's')&.nick == 'x' }
user = nil
step('create') { (user = User.create!(email: 'a@x', amount: 1)).id.positive? }
step('default') { User.find(user.id).nick == 'x' }
step('validation') { !User.new(email: 'a@x').valid? }
step('unique') do
  User.new(email: 'a@x').save!(validate: false)
rescue ActiveRecord::RecordNotUnique
  true
end
step('check') do
  User.create!(email: 'minus', amount: -1)
rescue ActiveRecord::StatementInvalid => error
  error.cause.is_a?(PG::CheckViolation)
end
step('association') { user.posts.create!(body: 'x') && user.posts.count == 1 && Post.joins(:user).count == 1 }
step('savepoint') do
  User.transaction do
    User.create!(email: 'kept', amount: 1)
    User.transaction(requires_new: true) do
      User.create!(email: 'undone', amount: 2)
      raise ActiveRecord::Rollback
    end
    User.lock.first
  end
  User.where(email: %w[kept undone]).pluck(:email) == ['kept']
end
step('rollback') do
  User.transaction do
    User.create!(email: 'never', amount: 1)
    raise ActiveRecord::Rollback
  end
  !User.exists?(email: 'never')
end
step('lock') { user.with_lock { user.update!(nick: 'locked') } && user.reload.nick == 'locked' }
step('insert_all') { User.insert_all([{ email: 'c', nick: 'q', created_at: Time.now, updated_at: Time.now }]).length == 1 }
step('upsert') do
  User.upsert({ id: user.id, email: 'z', created_at: Time.now, updated_at: Time.now })
  user.reload.email == 'z'
end
step('find_each') { User.find_each(batch_size: 1).count == User.count }
step('aggregates') { User.group(:nick).sum(:amount).is_a?(Hash) && User.maximum(:id).positive? }
step('prepared') { 3.times.all? { User.where(email: 'z').pluck(:id) == [user.id] } }
step('destroy') { user.destroy && Post.count.zero? }
step('indexes') { connection.indexes('ar_users').map(&:unique).count(true) == 1 }
step('tables') { (%w[ar_users ar_posts schema_migrations] - connection.tables).empty? }
step('truncate') { connection.truncate('ar_posts') && Post.count.zero? }
step('reset') { connection.reset! || true }
step('referential integrity') { connection.disable_referential_integrity { true } }
step('advisory lock') { connection.get_advisory_lock(77) && connection.release_advisory_lock(77) }
step('migrate down') { migrate(0, :down) && (%w[ar_users ar_posts] & connection.tables).empty? }
puts "#{$passed} #{$total}"
